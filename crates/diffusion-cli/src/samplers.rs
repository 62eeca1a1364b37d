//! `diffusion samplers`: how near to the data each sampler comes, by the number of evaluations.

use crate::args::SamplersArgs;
use crate::display::Display;
use crate::error::CliError;
use crate::output::{print, try_print};
use crate::pictures::curves;
use crate::place::check_file;
use burn::tensor::backend::Backend;
use diffusion::core::network::mixture::{Component, GaussianMixture};
use diffusion::core::random::{Purpose, Stream};
use diffusion::core::schedule::{Flow, Grid, Karras, LogLinear, Timesteps};
use diffusion::core::watch::Watch;
use diffusion::core::{AnySampler, Invalid, Path, Sigmas, Straight, VarianceExploding, counted};
use diffusion::eval::{floor, steps_within, transport_distance};
use diffusion_backends::{Job, run_on};
use diffusion_recipe::RecipeError;

/// How many samples a distance is measured on.
const SAMPLES: usize = 1 << 14;

pub fn main(args: SamplersArgs, display: &Display) -> Result<(), CliError> {
    if let Some(out) = &args.out {
        check_file(out, args.overwrite)?;
    }
    if args.evaluations.contains(&0) {
        return Err(CliError::Option(Invalid::new("evaluations", "has 0, expected at least 1")));
    }
    let mut budgets = args.evaluations;
    budgets.sort_unstable();
    budgets.dedup();
    let job = Measure { budgets: &budgets, watch: display.watch() };
    display.begin("measuring samplers");
    let [diffusion, flow] = run_on(args.backend, job)??;
    let drawn = drawn_floor();
    print(format_args!(
        "Wasserstein distance to the data over their standard deviation; {} drawn from the data are {drawn:.4} away",
        counted(SAMPLES, "sample"),
    ))?;
    print(format_args!(
        "\ndiffusion, Karras' levels from 80 to 0.002 and 0\n{}",
        table(&diffusion, &budgets)
    ))?;
    print(format_args!("\nflow, times evenly spaced from 1 to 0\n{}", table(&flow, &budgets)))?;
    if let Some(out) = &args.out {
        let of = |row: &Row| {
            let points = budgets.iter().zip(&row.distances);
            points.filter_map(|(&n, distance)| Some((n as f64, (*distance)?))).collect::<Vec<(f64, f64)>>()
        };
        let shown: Vec<(&str, Vec<(f64, f64)>)> =
            diffusion.iter().filter(|row| SHOWN.contains(&row.name)).map(|row| (row.name, of(row))).collect();
        let names = ["evaluations of the network", "distance to the data"];
        curves(out, "Samplers on a mixture whose denoiser is known", names, &shown)?;
        try_print(format_args!("{}", out.display()));
    }
    Ok(())
}

/// Those that the picture shows.
const SHOWN: [&str; 7] = ["ddim", "ddpm", "heun", "dpmpp-2m", "dpmpp-3m", "dpmpp-2m-sde", "unipc"];

/// The data: three normal distributions of widths from 0.05 to 0.25.
fn data<P: Path + Default>() -> GaussianMixture<P> {
    let component = |weight, mean, std| Component { weight, mean: vec![mean], std };
    let components = vec![component(0.3, -1.0, 0.05), component(0.5, 0.2, 0.25), component(0.2, 1.5, 0.1)];
    GaussianMixture::new(P::default(), components)
}

/// How far as many samples are that are drawn from the data.
fn drawn_floor() -> f64 {
    let mut stream = Stream::new(0, Purpose::INITIAL_NOISE, 0, 0);
    floor(&data::<VarianceExploding>(), SAMPLES, || stream.uniform())
}

/// The distances of one sampler, one for each number of evaluations.
struct Row {
    name: &'static str,
    distances: Vec<Option<f64>>,
}

struct Measure<'a> {
    budgets: &'a [usize],
    watch: &'a Watch,
}

impl Job for Measure<'_> {
    type Output = Result<[Vec<Row>; 2], RecipeError>;

    fn run<B: Backend>(self, device: &B::Device) -> Self::Output {
        let karras = Grid::from(Karras::default());
        let levels = LogLinear::new(100, 0.002, 80.0);
        let even = Grid::from(Timesteps::default());
        let times = Flow::default();
        Ok([
            self.rows::<B, VarianceExploding>(&|steps| karras.sigmas(&levels, steps), device)?,
            self.rows::<B, Straight>(&|steps| even.sigmas(&times, steps), device)?,
        ])
    }
}

impl Measure<'_> {
    /// A row for each sampler, the best at the largest number of evaluations first.
    fn rows<B: Backend, P: Path + Default>(
        &self,
        grid: &dyn Fn(usize) -> Sigmas<P>,
        device: &B::Device,
    ) -> Result<Vec<Row>, RecipeError> {
        let data = data::<P>();
        let (mut rows, count) = (Vec::new(), AnySampler::names_for_any_model().count() as u64);
        for (i, name) in AnySampler::names_for_any_model().enumerate() {
            let Some(sampler) = AnySampler::from_name(name) else { continue };
            let mut distances = Vec::new();
            for &budget in self.budgets {
                self.watch.report("measuring samplers", i as u64, Some(count))?;
                let steps = steps_within(&sampler, grid, budget);
                distances.push(
                    steps.map(|steps| {
                        transport_distance::<B, P>(&data, sampler, &grid(steps), SAMPLES, device)
                    }),
                );
            }
            rows.push(Row { name, distances });
        }
        let last = |row: &Row| row.distances.last().copied().flatten().unwrap_or(f64::INFINITY);
        rows.sort_by(|a, b| last(a).total_cmp(&last(b)));
        Ok(rows)
    }
}

/// A line for each sampler.
fn table(rows: &[Row], budgets: &[usize]) -> String {
    let head = |text: String, budget: &usize| format!("{text} {:>9}", budget);
    let mut text = budgets.iter().fold(format!("{:<22}", "evaluations"), head);
    for Row { name, distances } in rows.iter().filter(|row| row.distances.iter().any(Option::is_some)) {
        let figure = |text: String, distance: &Option<f64>| match distance {
            Some(distance) => format!("{text} {distance:>9.4}"),
            None => format!("{text} {:>9}", "-"),
        };
        text += &distances.iter().fold(format!("\n{name:<22}"), figure);
    }
    text
}
