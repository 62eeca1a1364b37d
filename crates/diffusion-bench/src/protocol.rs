//! What driver and worker say to each other: one JSON value a line, each request answered by one line.
//!
//! A worker ends when its standard input does.

use crate::work::Work;
use serde::{Deserialize, Serialize};

/// What the driver asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// Make everything that the steps need; once in a worker's life.
    Prepare {
        /// What a step is.
        work: Work,
        /// Threads on the CPU.
        threads: u32,
        /// Whether to compute on a GPU, for workers that have the choice.
        gpu: bool,
    },
    /// Do so many steps.
    Steps(u64),
}

/// What a worker answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// Steps can be asked for.
    Ready {
        /// The number of weights that are trained, 0 where there is no network.
        parameters: usize,
        /// What computes, with the versions of everything that matters.
        versions: String,
    },
    /// The seconds that the steps took, all together.
    Took(f64),
    /// A sentence that says why there is no other answer.
    Failed(String),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::Piece;

    /// The worker in Python reads and writes these very lines.
    #[test]
    fn lines_are_as_the_peer_knows_them() {
        let work = Work::Ideal { examples: 3, numbers: 2, queries: 1 };
        let latent = Work::Latent { folder: "f".into(), piece: Piece::Guided, size: 64 };
        for (request, line) in [
            (
                Request::Prepare { work, threads: 2, gpu: false },
                r#"{"prepare":{"work":{"kind":"ideal","examples":3,"numbers":2,"queries":1},"threads":2,"gpu":false}}"#,
            ),
            (
                Request::Prepare { work: latent, threads: 1, gpu: true },
                r#"{"prepare":{"work":{"kind":"latent","folder":"f","piece":"guided","size":64},"threads":1,"gpu":true}}"#,
            ),
            (Request::Steps(7), r#"{"steps":7}"#),
        ] {
            assert_eq!(serde_json::to_string(&request).expect("it has a form"), line);
            assert_eq!(serde_json::from_str::<Request>(line).expect("it is a request"), request);
        }
        for (reply, line) in [
            (
                Reply::Ready { parameters: 5, versions: "v".into() },
                r#"{"ready":{"parameters":5,"versions":"v"}}"#,
            ),
            (Reply::Took(0.5), r#"{"took":0.5}"#),
            (Reply::Failed("no".into()), r#"{"failed":"no"}"#),
        ] {
            assert_eq!(serde_json::to_string(&reply).expect("it has a form"), line);
            assert_eq!(serde_json::from_str::<Reply>(line).expect("it is a reply"), reply);
        }
    }
}
