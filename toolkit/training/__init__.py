"""From a design matrix to a model with a calibrator and a threshold, without reading a test label."""
