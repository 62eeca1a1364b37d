use crate::support::folders::{Folder, Latent};
use diffusion::latent::{LatentError, Tokenizer};
use std::fs;
use std::path::PathBuf;

const END: &str = "<|endoftext|>";

/// Per pad token, folders of tokenizers that have it, each as it has to be opened.
fn tokenizers() -> Vec<(&'static str, Tokenizer)> {
    let open = |folder: &str, part: &str, change: fn(&Folder)| {
        let folder = Folder::new(folder);
        change(&folder);
        Tokenizer::open(folder.join(part)).unwrap()
    };
    let alone = |folder: &Folder| {
        for file in ["vocab.json", "merges.txt", "special_tokens_map.json"] {
            fs::remove_file(folder.join(file)).unwrap();
        }
    };
    let in_lines = |folder: &Folder| {
        for file in ["vocab.json", "merges.txt"] {
            fs::remove_file(folder.join(file)).unwrap();
        }
        folder.edit("tokenizer.json", |text| {
            let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
            for pair in value["model"]["merges"].as_array_mut().unwrap() {
                *pair = format!("{} {}", pair[0].as_str().unwrap(), pair[1].as_str().unwrap()).into();
            }
            value.to_string()
        });
    };
    // As folders of 2022 are, which list no added tokens; and where one file says "!" and the other does not.
    let old = |folder: &Folder| {
        folder.edit("tokenizer/tokenizer_config.json", |text| {
            let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
            value.as_object_mut().unwrap().remove("added_tokens_decoder");
            value["pad_token"] = END.into();
            value.to_string()
        });
    };
    vec![
        (END, open("sd1", "tokenizer", |_| ())),
        ("!", open("sd2", "tokenizer", |_| ())),
        ("!", open("sd2", "tokenizer", old)),
        ("!", open("fast_tokenizer", "", |_| ())),
        ("!", open("fast_tokenizer", "", alone)),
        ("!", open("fast_tokenizer", "", in_lines)),
    ]
}

#[test]
fn prompts_have_the_ids_of_transformers() {
    let latent = Latent::read();
    for (pad, tokenizer) in tokenizers() {
        assert_eq!(latent.tokens[pad].len(), 22);
        for (prompt, ids) in &latent.tokens[pad] {
            assert_eq!(&tokenizer.encode(&[prompt]).ids[0], ids, "{prompt:?} filled up with {pad}");
        }
    }
}

#[test]
fn thousands_of_texts_have_the_ids_of_transformers() {
    let texts = Latent::read().texts;
    // Of each pad token the first, and that in one file.
    let mut tokenizers = tokenizers();
    for (pad, tokenizer) in [4, 1, 0].map(|at| tokenizers.swap_remove(at)) {
        let tokenizer = tokenizer.with_length(texts.length);
        assert!(texts.ids[pad].len() >= 50);
        for (block, expected) in texts.ids[pad].iter().enumerate() {
            let prompts: Vec<String> = (100 * block..100 * (block + 1)).map(|i| texts.text(i)).collect();
            let found = tokenizer.encode(&prompts.iter().map(String::as_str).collect::<Vec<_>>());
            let ids = found.ids.iter().flatten().flat_map(|&id| (id as u32).to_le_bytes());
            let checksum = crc32fast::hash(&ids.collect::<Vec<_>>());
            assert_eq!(checksum, *expected, "texts {} to {} with {pad}", 100 * block, 100 * block + 99);
        }
    }
}

#[test]
fn what_is_cut_is_told() {
    let (_, tokenizer) = tokenizers().remove(0);
    assert_eq!(tokenizer.length(), 16);
    let words = ["Horse"; 17].join(" ");
    let exactly = ["horse"; 14].join(" ");
    let found = tokenizer.encode(&[&words, &exactly, &format!("{exactly}<|ENDOFTEXT|>  ÉTÉ!")]);
    let told = ["horse horse horse", "", "<|endoftext|> été !"]
        .map(|cut| (!cut.is_empty()).then(|| cut.to_string()));
    assert_eq!(found.cut, told);
    assert!(
        found
            .ids
            .iter()
            .all(|ids| ids.len() == 16 && ids[0] == tokenizer.start() && ids[15] == tokenizer.end())
    );
    assert_eq!(found.ids[0], found.ids[1]);
}

#[test]
fn of_added_tokens_the_longest_is_cut_out() {
    let folder = Folder::new("sd2");
    folder.edit("tokenizer/tokenizer_config.json", |text| {
        let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
        value["added_tokens_decoder"]["574"] = serde_json::json!({ "content": "!!", "normalized": false });
        value.to_string()
    });
    let tokenizer = Tokenizer::open(folder.join("tokenizer")).unwrap();
    assert_eq!(tokenizer.encode(&["!!!"]).ids[0][1..4], [574, 0, tokenizer.end()]);
    assert_eq!(tokenizer.max_id(), 574);
}

/// The file that an error names.
fn file_of(error: LatentError) -> PathBuf {
    match error {
        LatentError::Io { path, .. }
        | LatentError::Malformed { path, .. }
        | LatentError::Setting { path, .. }
        | LatentError::NoPart { folder: path, .. } => path,
        error => panic!("{error}"),
    }
}

/// Without settings a tokenizer is as `CLIPTokenizer` by itself.
#[test]
fn settings_may_be_missing() {
    const SETTINGS: [&str; 2] = ["tokenizer_config.json", "special_tokens_map.json"];
    let without = |folder: &Folder, part: &str, files: &[&str]| {
        let part = folder.join(part);
        files.iter().for_each(|file| fs::remove_file(part.join(file)).unwrap());
        Tokenizer::open(&part)
    };
    let sd1 = Folder::new("sd1");
    let stated = Tokenizer::open(sd1.join("tokenizer")).unwrap();
    let plain = without(&sd1, "tokenizer", &SETTINGS).unwrap();
    let fast = Folder::new("fast_tokenizer");
    let alone = without(&fast, "", &[&SETTINGS[..], &["vocab.json", "merges.txt"]].concat()).unwrap();
    for found in [&plain, &alone] {
        assert_eq!((found.length(), found.pad()), (77, found.end()));
        for text in ["The red fox", "<|endoftext|> É"] {
            let ids = found.encode(&[text]).ids.remove(0);
            assert_eq!(ids[..stated.length()], stated.encode(&[text]).ids[0]);
        }
    }
    // The file that has other tokens is named.
    let folder = Folder::new("sd1");
    folder.edit("tokenizer/vocab.json", |text| text.replace("<|startoftext|>", "<|begin|>"));
    let error = without(&folder, "tokenizer", &SETTINGS).unwrap_err();
    assert_eq!(file_of(error), folder.join("tokenizer/merges.txt"));
}

#[test]
fn a_file_that_is_missing_or_damaged_is_named() {
    let damaged: &[(&str, &str, &str, &str)] = &[
        ("tokenizer_config.json", "[1]", "tokenizer_config.json", "no object"),
        ("tokenizer_config.json", r#"{"model_max_length": 1}"#, "tokenizer_config.json", "too short"),
        ("tokenizer_config.json", r#"{"model_max_length": "long"}"#, "tokenizer_config.json", "no number"),
        (
            "tokenizer_config.json",
            r#"{"added_tokens_decoder": {"a": 1}}"#,
            "tokenizer_config.json",
            "no tokens",
        ),
        ("special_tokens_map.json", r#"{"pad_token": 7}"#, "special_tokens_map.json", "no token"),
        ("special_tokens_map.json", "{", "special_tokens_map.json", "cut off"),
        (
            "special_tokens_map.json",
            r#"{"pad_token": "<pad>"}"#,
            "special_tokens_map.json",
            "a token that is not there",
        ),
        ("vocab.json", r#"{"a": -1}"#, "vocab.json", "a negative id"),
        ("vocab.json", "{}", "merges.txt", "pairs of no tokens"),
        ("vocab.json", "", "", "neither way of storing"),
        ("merges.txt", "", "merges.txt", "not there"),
        ("merges.txt", "#version: 0.2\na b c\n", "merges.txt", "three tokens"),
        ("merges.txt", "a\n", "merges.txt", "one token"),
        ("merges.txt", "a b\n", "merges.txt", "a pair that is no token"),
    ];
    for (file, text, named, what) in damaged {
        let folder = Folder::new("sd1");
        let path = folder.join("tokenizer").join(file);
        if text.is_empty() {
            fs::remove_file(path).unwrap()
        } else {
            fs::write(path, text).unwrap()
        }
        let found = file_of(Tokenizer::open(folder.join("tokenizer")).unwrap_err());
        let expected =
            if named.is_empty() { folder.join("tokenizer") } else { folder.join("tokenizer").join(named) };
        assert_eq!(found, expected, "{file}: {what}");
    }
    // A tokenizer of another kind, which would give wrong ids.
    let folder = Folder::new("fast_tokenizer");
    fs::remove_file(folder.join("vocab.json")).unwrap();
    folder.edit("tokenizer.json", |text| {
        text.replace(r#""end_of_word_suffix": "</w>""#, r#""end_of_word_suffix": """#)
    });
    assert_eq!(file_of(Tokenizer::open(folder.path()).unwrap_err()), folder.join("tokenizer.json"));
}
