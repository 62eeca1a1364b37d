//! What a GPU's backend says that has no GPU.

use burn::tensor::{Tensor, backend::Backend};
use std::sync::{Arc, Mutex, PoisonError};
use std::{panic, thread};

/// Why `B` cannot add one and two here, if it cannot.
pub fn probe<B: Backend>() -> Option<String> {
    let sum = listening(|| {
        let three = Tensor::<B, 1>::ones([1], &Default::default()) + 2.0;
        three.into_data().iter::<f32>().collect::<Vec<_>>()
    });
    match sum {
        Ok(sum) if sum == [3.0] => None,
        Ok(sum) => Some(format!("1 + 2 is {sum:?} on it")),
        Err(reason) => Some(reason),
    }
}

/// Runs `attempt` on a thread of its own, where a panic, which is how Burn says that there is no device, does no harm.
/// The error is the first line of the first panic meanwhile: the backend panics with the reason on a thread of *its*
/// own, and what its caller then panics with does not tell it.
pub fn listening<T: Send + 'static>(attempt: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    // Two at once would take each other's hook for the one to put back.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let first = Arc::new(Mutex::new(None));
    let heard = Arc::clone(&first);
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        let reason = panic.payload_as_str().and_then(|text| text.lines().next()).unwrap_or("unknown cause");
        heard.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| reason.to_string());
    }));
    let result = thread::spawn(attempt).join();
    panic::set_hook(before);
    result.map_err(|_| first.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default())
}
