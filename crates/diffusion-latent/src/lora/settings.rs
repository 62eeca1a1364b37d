//! What PEFT writes beside its own files: `adapter_config.json`.

use crate::config::Settings;
use crate::error::LatentError;
use std::path::Path;

/// What the product of a pair is multiplied by where its file does not say it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scale {
    /// By nothing: α is the rank.
    One,
    /// By α over the rank.
    OverRank(f64),
    /// By α over the root of the rank (Kalajdzievski 2023, arXiv:2312.03732).
    OverRoot(f64),
}

impl Scale {
    /// What stands beside the file, if there is something.
    pub(super) fn beside(file: &Path) -> Result<Self, LatentError> {
        let path = file.with_file_name("adapter_config.json");
        if !path.exists() {
            return Ok(Self::One);
        }
        let settings = Settings::read(path)?;
        settings.expect("peft_type", &[r#""LORA""#])?;
        settings.expect("use_dora", &["false"])?;
        settings.expect("bias", &[r#""none""#])?;
        settings.expect("fan_in_fan_out", &["false"])?;
        for key in ["alpha_pattern", "modules_to_save"] {
            settings.expect(key, &["{}", "[]"])?;
        }
        let alpha = match settings.get("lora_alpha") {
            None => 8.0,
            Some(alpha) => alpha.as_f64().ok_or_else(|| settings.unsupported("lora_alpha", "a number"))?,
        };
        let is_root = settings.get("use_rslora").and_then(serde_json::Value::as_bool).unwrap_or(false);
        Ok(if is_root { Self::OverRoot(alpha) } else { Self::OverRank(alpha) })
    }

    pub(super) fn of_rank(self, rank: usize) -> f64 {
        match self {
            Self::One => 1.0,
            Self::OverRank(alpha) => alpha / rank as f64,
            Self::OverRoot(alpha) => alpha / (rank as f64).sqrt(),
        }
    }
}
