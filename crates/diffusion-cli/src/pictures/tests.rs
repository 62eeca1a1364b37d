//! What is drawn is where it should be.

use super::axis::{Axis, number};
use super::curve::{extremes, running_mean};
use super::scatter::{label_color, square};
use super::*;
use image::AnimationDecoder;
use image::codecs::gif::GifDecoder;
use image::codecs::png::PngDecoder;
use std::fs;

fn drawn<T>(draw: impl FnOnce(&Path) -> Result<T, PictureError>) -> RgbImage {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("picture.png");
    draw(&path).expect("a picture");
    image::open(&path).expect("a PNG file").to_rgb8()
}

/// Where `(x, y)`, given as shares of the frame from its lower left corner, is in a plot.
fn at(picture: &RgbImage, x: f64, y: f64) -> Rgb<u8> {
    let [width, height] = [picture.width(), picture.height()].map(|side| f64::from(side) - 95.0);
    *picture.get_pixel((70.0 + x * width) as u32, (45.0 + (1.0 - y) * height) as u32)
}

fn close(found: Rgb<u8>, RGBColor(red, green, blue): RGBColor, opacity: f64) -> bool {
    let expected = [red, green, blue].map(|c| 255.0 + (f64::from(c) - 255.0) * opacity);
    found.0.iter().zip(expected).all(|(&found, expected)| (f64::from(found) - expected).abs() < 4.0)
}

fn caption(picture: &RgbImage) -> Vec<u8> {
    image::imageops::crop_imm(picture, 0, 0, picture.width(), 40).to_image().into_raw()
}

// The wider side of this data sets the frame for both, ±1.1·1.2 = ±1.32, and the rest follows from it:
// the share s of the frame is at −1.32 + 2.64·s.
const DATA: [[f32; 2]; 2] = [[-1.1, -0.1], [1.1, 0.1]];
const SAMPLES: [[f32; 2]; 2] = [[0.396, -0.924], [-0.396, 0.924]];

#[test]
fn dots_lie_at_their_points_on_equal_axes() {
    let picture = drawn(|path| scatter(path, &DATA, &SAMPLES, None));
    assert!(close(at(&picture, 0.65, 0.15), ACCENT, 0.7));
    assert!(close(at(&picture, 0.35, 0.85), ACCENT, 0.7));
    assert!(close(at(&picture, 2.42 / 2.64, 1.42 / 2.64), FAINT, 0.7));
    assert_eq!(at(&picture, 0.65, 0.85), PAPER);
}

#[test]
fn labels_have_their_own_readable_colors() {
    let picture = drawn(|path| scatter(path, &DATA, &SAMPLES, Some(&[5, 0])));
    assert!(close(at(&picture, 0.65, 0.15), label_color(5, 6), 0.7));
    assert!(close(at(&picture, 0.35, 0.85), label_color(0, 6), 0.7));

    let colors: Vec<_> = (0..96).map(|label| label_color(label, 96)).collect();
    for (k, &color) in colors.iter().enumerate() {
        assert!(colors[..k].iter().all(|other| other.rgb() != color.rgb()), "label {k} shares its color");
        let RGBColor(red, green, blue) = color;
        let luma = 0.299 * f64::from(red) + 0.587 * f64::from(green) + 0.114 * f64::from(blue);
        assert!(luma < 200.0, "label {k} is too pale: luma {luma}");
    }
}

#[test]
fn wild_samples_are_counted_and_leave_the_frame_alone() {
    let tame = drawn(|path| scatter(path, &DATA, &[SAMPLES[0]; 4], None));
    let wild = [[f32::NAN, 0.0], [0.0, f32::INFINITY], [1e38, -1e38], SAMPLES[0]];
    let picture = drawn(|path| scatter(path, &DATA, &wild, None));
    assert!(close(at(&picture, 0.65, 0.15), ACCENT, 0.7));
    assert_ne!(caption(&tame), caption(&picture), "both have four samples, but three of these are outside");

    let broken = [DATA[0], [f32::NAN, f32::INFINITY], DATA[1]];
    assert_eq!(square(&broken, 0.0), square(&DATA, 0.0));
    let mut samples: Vec<_> = (0..=100).map(|k| [k as f32, 0.0]).collect();
    samples[0] = [1e30, 0.0];
    assert_eq!(square(&samples, 0.01), square(&samples[2..=100], 0.0), "one of a hundred on each side");
}

#[test]
fn scatter_of_next_to_nothing_is_a_picture() {
    drawn(|path| scatter(path, &[], &[], Some(&[])));
    drawn(|path| scatter(path, &[[f32::NAN; 2]], &[[f32::MAX; 2]], None));
    let [x, y] = square(&[[100.0, 0.0]], 0.0);
    assert_eq!([x, y], [50.0..150.0, -50.0..50.0]);
}

#[test]
fn grid_shows_each_pixel_of_each_image_at_its_place() {
    // Three columns, since ⌈√5⌉ = 3; enlarged 66 times, since 3·3·65 + 4·2 = 593 < 600 ≤ 602.
    let images: Vec<f32> = (0..30).map(|k| k as f32 / 14.5 - 1.0).collect();
    let picture = drawn(|path| grid(path, &images, 5, 1, 2, 3, None));
    assert_eq!(picture.dimensions(), (3 * 3 * 66 + 8, 2 * 2 * 66 + 6));
    for (k, value) in images.iter().enumerate() {
        let [image, row, column] = [k / 6, k / 3 % 2, k % 3];
        let left = 2 + image % 3 * (3 * 66 + 2) + column * 66;
        let top = 2 + image / 3 * (2 * 66 + 2) + row * 66;
        let gray = Rgb([((value + 1.0) * 127.5).round() as u8; 3]);
        assert_eq!(*picture.get_pixel(left as u32, top as u32), gray, "value {k}");
        assert_eq!(*picture.get_pixel(left as u32 + 65, top as u32 + 65), gray, "value {k}");
    }
    assert_eq!(*picture.get_pixel(1, 1), PAPER);
    assert_eq!(*picture.get_pixel(2 + 3 * 66, 50), PAPER);
    assert_eq!(*picture.get_pixel(601 - 100, 200), PAPER, "there is no sixth image");
}

/// Small ones, which are enlarged, for each is alone in its row.
#[test]
fn grid_of_too_many_images_shows_the_first() {
    let mut shown = 0;
    let picture = drawn(|path| {
        shown = grid(path, &[0.0; 16_000], 1_000, 1, 4, 4, Some(1))?;
        Ok(())
    });
    assert!((1..1_000).contains(&shown), "{shown} of 1000");
    let pixels = picture.width() as usize * picture.height() as usize;
    assert!((1 << 25..(1 << 26) + 4 * 600).contains(&pixels), "{pixels} pixels");
}

/// Where the grid begins below the names, and the columns of pixels in which something is written.
fn written(picture: &RgbImage, names: &[&str]) -> (u32, Vec<u32>) {
    let bare = drawn(|path| grid(path, &[1.0; 256], 4 * names.len(), 1, 4, 4, Some(names.len())));
    let top = picture.height() - bare.height();
    let is_inked = |&x: &u32| (0..top).any(|y| picture.get_pixel(x, y).0[0] < 128);
    (top, (0..picture.width()).filter(is_inked).collect())
}

#[test]
fn names_stand_over_the_middle_of_their_columns() {
    let draw = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        drawn(|path| grid_under(path, &[1.0; 256], 4 * names.len(), 1, 4, 4, &names))
    };
    // Cells of 37 times 4 pixels and a gap, four rows below each other.
    let short = ["cat", "", "dog", ""];
    let picture = draw(&short);
    let (top, inked) = written(&picture, &short);
    assert_eq!((picture.width(), picture.height() - top), (4 * 150 + 2, 4 * 150 + 2));
    assert!((16..30).contains(&top), "{top}");
    let (cat, dog): (Vec<u32>, Vec<u32>) = inked.iter().partition(|&&x| x < 300);
    for (of, middle) in [(cat, 75), (dog, 375)] {
        let (first, last) = (of[0], *of.last().unwrap());
        assert!((first + last).abs_diff(2 * middle) <= 6 && last - first < 40, "{first} to {last}, {middle}");
    }
    assert_ne!(draw(&["cat", "", "dog", ""]), draw(&["dog", "", "cat", ""]));

    // Upright, as high as the font is wide, but never higher than the longest that is let through.
    let long = "a most remarkable kind of animal";
    let higher = [&[long, "", "dog", ""][..], &[&long.repeat(9), "", "dog", "\n"]].map(|names| {
        let picture = draw(names);
        let (top, inked) = written(&picture, names);
        assert!((60..150).contains(&top), "{top}");
        assert!(inked.iter().all(|x| x.abs_diff(75) < 12 || x.abs_diff(375) < 12), "{inked:?}");
        top
    });
    assert!(higher[0].abs_diff(higher[1]) < 12, "{higher:?}");
}

#[test]
fn names_that_the_font_does_not_have_are_known() {
    for (name, has) in
        [("Ankle boot 2", true), ("Größe", true), ("кот", true), ("猫", false), ("fox 🦊", false)]
    {
        assert_eq!(is_drawable(name), has, "{name}");
    }
}

#[test]
fn grid_clamps_and_shouts() {
    let images = [-7.0, 1.0, 0.0, 7.0, -1.0, f32::NAN]; // [1, 3, 1, 2]
    let picture = drawn(|path| grid(path, &images, 1, 3, 1, 2, Some(9)));
    assert_eq!(*picture.get_pixel(10, 10), Rgb([0, 128, 0]));
    assert_eq!(*picture.get_pixel(500, 10), Rgb([255, 0, 255]));
    drawn(|path| grid(path, &[], 0, 3, 8, 8, Some(0)));
}

#[test]
fn curve_is_straight_on_the_scale_that_suits_it() {
    let straight = (0..=100).map(|k| (k.into(), 1.0 + f64::from(k) / 25.0));
    let straight = drawn(|path| curve(path, &Vec::from_iter(straight), &[], ""));
    let decay = (0..=100).map(|k| (k.into(), 10_f64.powf(f64::from(-k) / 25.0)));
    let decay = drawn(|path| curve(path, &Vec::from_iter(decay), &[], ""));
    for share in [0.27, 0.5, 0.73] {
        assert!(close(at(&straight, share, (0.05 + share) / 1.1), ACCENT, 1.0));
        assert!(close(at(&decay, share, (1.05 - share) / 1.1), ACCENT, 1.0));
    }
}

#[test]
fn curve_marks_and_counts_what_is_not_finite() {
    let mut points: Vec<_> = (0..=100).map(|k| (f64::from(k), 1.0 + f64::from(k % 2))).collect();
    let clean = drawn(|path| curve(path, &points, &[], "loss"));
    (points[25].1, points[75].1, points[80].0) = (f64::NAN, f64::INFINITY, f64::NAN);
    let marked = drawn(|path| curve(path, &points, &[], "loss"));
    for share in [0.25, 0.75] {
        assert!(close(at(&marked, share, 0.008), LOUD, 1.0) && !close(at(&clean, share, 0.008), LOUD, 1.0));
    }
    assert!(!close(at(&marked, 0.001, 0.008), LOUD, 1.0), "a step that is not finite has no place");
    assert_ne!(caption(&clean), caption(&marked));
}

#[test]
fn curve_of_next_to_nothing_or_of_extremes_is_a_picture() {
    let single = drawn(|path| curve(path, &[(7.0, 3.0)], &[], "one"));
    assert!(close(at(&single, 0.5, 0.5), ACCENT, 1.0));
    for losses in [[0.0, 1e-323], [1e-320, 1.0], [-1e99, 1e99], [1e15, 1e15 + 1.0], [f64::NAN, f64::MAX]] {
        drawn(|path| curve(path, &[(0.0, losses[0]), (1e99, losses[1])], &[], ""));
    }
    drawn(|path| curve(path, &[], &[], ""));
}

#[test]
fn running_mean_levels_what_alternates() {
    let points: Vec<_> = (0..10_000).map(|k| (f64::from(k), 5.0 + f64::from(k % 2 * 2 - 1))).collect();
    let mean = running_mean(&points);
    assert_eq!(mean.len(), 500);
    assert!(mean.iter().all(|(_, loss)| (loss - 5.0).abs() < 0.01));
}

#[test]
fn ticks_are_few_and_their_numbers_short() {
    for k in 1..2000 {
        let low = f64::from(k) - 1000.0;
        let ticks = Axis::linear("", low..low + 0.01 * f64::from(k)).ticks;
        assert!((3..=9).contains(&ticks.len()), "{ticks:?}");
    }
    assert_eq!(
        Vec::from_iter(Axis::logarithmic("", 0.03, 1.2).ticks.into_iter().map(number)),
        ["0.05", "0.1", "0.2", "0.5", "1"]
    );
    assert_eq!([0.1 + 0.2, -0.0, 1e6, -2e7, 5e-4].map(number), ["0.3", "0", "1000000", "-2e7", "5e-4"]);
}

#[test]
fn failures_name_the_picture_and_leave_nothing_behind() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("picture.png");
    let taken = folder.path().join("taken");
    fs::create_dir(&taken).expect("a folder where a picture should go");
    let failures = [
        scatter(&path, &[], &[[0.0; 2]], Some(&[])),
        grid(&path, &[0.0; 7], 2, 1, 2, 2, None).map(drop),
        grid(&path, &[0.0; 8], 1, 2, 2, 2, None).map(drop),
        curve(&folder.path().join("nowhere/picture.png"), &[], &[], ""),
        curve(&taken, &[], &[], ""),
    ];
    for failure in failures {
        let message = failure.expect_err("a failure").to_string();
        assert!(message.contains(&folder.path().display().to_string()), "{message}");
    }
    let left = || fs::read_dir(folder.path()).expect("the folder").count();
    assert_eq!(left(), 1);
    for _ in 0..2 {
        curve(&path, &[], &[], "").expect("a picture, also over an older one");
        assert_eq!(left(), 2);
    }
}

#[test]
fn what_is_measured_now_and_then_has_a_curve_of_its_own() {
    let points: Vec<_> = (0..=100).map(|k| (f64::from(k), 1.0 + f64::from(k) / 25.0)).collect();
    let alone = drawn(|path| curve(path, &points, &[], ""));
    let measured = [(47.0, 4.3), (77.0, 1.3), (80.0, f64::NAN)];
    let others = [("training examples", &[(23.0, 4.1)][..]), ("validation examples", &measured[..])];
    let picture = drawn(|path| curve(path, &points, &others, ""));
    let share = |value: f64| (value - 1.0 + 0.2) / 4.4;
    let at = |picture: &RgbImage, step: f64, value: f64| at(picture, step / 100.0, share(value));
    for (step, value) in [(23.0, 4.1), (47.0, 4.3), (77.0, 1.3)] {
        assert_eq!(at(&alone, step, value), PAPER);
        assert_ne!(at(&picture, step, value), PAPER, "step {step}");
    }
    assert_ne!(at(&picture, 23.0, 4.1), at(&picture, 47.0, 4.3), "both have one color");
    // The legend.
    let names =
        |picture: &RgbImage| image::imageops::crop_imm(picture, 600, 92, 270, 44).to_image().into_raw();
    assert_ne!(names(&alone), names(&picture));
}

#[test]
fn rates_begin_at_zero() {
    let points: Vec<_> = (0..=100).map(|k| (f64::from(k), f64::from(k) / 100.0)).collect();
    let picture = drawn(|path| rates(path, &points, ""));
    for share in [0.27, 0.5, 0.73] {
        assert!(close(at(&picture, share, (0.05 + share) / 1.3), ACCENT, 1.0));
    }
    drawn(|path| rates(path, &[], ""));
    drawn(|path| rates(path, &[(1.0, 1e-3), (2.0, f64::NAN)], ""));
}

/// Each extreme of a million points is seen.
#[test]
fn many_points_lose_no_extreme() {
    let mut points: Vec<_> = (0..1_000_000).map(|k| (f64::from(k), 1.0)).collect();
    (points[250_000].1, points[750_000].1) = (2.0, 0.5);
    let few = extremes(&points);
    assert!(few.len() < 10_000 && few.is_sorted_by(|a, b| a.0 <= b.0));
    assert!(few.contains(&(250_000.0, 2.0)) && few.contains(&(750_000.0, 0.5)));
}

/// Frames of next to no colors come back as they were, by either format.
#[test]
fn animations_show_each_frame_and_then_pause() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let frames: Vec<RgbImage> = (0..3).map(|k| RgbImage::from_pixel(5, 4, Rgb([80 * k, 0, 9]))).collect();
    let gray: Vec<RgbImage> = (0..2).map(|k| RgbImage::from_pixel(5, 4, Rgb([80 * k; 3]))).collect();
    for name in ["a.gif", "a.apng"] {
        for expected in [&frames, &gray] {
            let path = folder.path().join(name);
            animation(&path, expected, 300).expect("an animation");
            let file = std::io::BufReader::new(fs::File::open(&path).expect("a file"));
            let found = match name {
                "a.gif" => GifDecoder::new(file).expect("a GIF file").into_frames().collect_frames(),
                _ => PngDecoder::new(file)
                    .and_then(PngDecoder::apng)
                    .expect("an APNG file")
                    .into_frames()
                    .collect_frames(),
            };
            let found = found.expect("frames");
            let delays: Vec<_> = found.iter().map(|frame| frame.delay().numer_denom_ms().0).collect();
            assert!(delays.iter().rev().skip(1).all(|&delay| delay == 300) && delays.last() == Some(&2_000));
            let pictures: Vec<_> = found
                .into_iter()
                .map(|frame| DynamicImage::ImageRgba8(frame.into_buffer()).into_rgb8())
                .collect();
            assert!(&pictures == expected, "{name}");
        }
        let path = folder.path().join(name);
        let other = [&frames[..], &[RgbImage::new(4, 4)]].concat();
        assert!(animation(&path, &other, 300).is_err() && animation(&path, &[], 300).is_err());
    }
    assert!(is_animation(Path::new("a/b.GIF")) && is_animation(Path::new("b.apng")));
    assert!(!is_animation(Path::new("gif")) && !is_animation(Path::new("a.png")));
}

/// A metric may be 0 or less, as the kernel distance is.
#[test]
fn curves_over_steps_go_below_zero() {
    let line = vec![(0.0, -1.0), (50.0, 0.0), (75.0, f64::NAN), (100.0, 1.0)];
    let picture = drawn(|path| curves_over_steps(path, "", "", &[("", line.clone())]));
    for share in [0.27, 0.5, 0.73] {
        assert!(close(at(&picture, share, (0.05 + share) / 1.1), ACCENT, 1.0), "{share}");
    }
}
