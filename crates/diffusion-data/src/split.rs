//! The two parts of a published data set.

/// Which of the two parts of a published data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// The examples to train on, and to split validation examples from: `train-images-idx3-ubyte` and
    /// `train-labels-idx1-ubyte` of MNIST, `data_batch_1.bin` to `data_batch_5.bin` of CIFAR-10.
    Train,
    /// The examples for a final figure, which no decision during training may depend on: `t10k-images-idx3-ubyte` and
    /// `t10k-labels-idx1-ubyte` of MNIST, `test_batch.bin` of CIFAR-10.
    Test,
}
