"""Where a run's numbers go beside its own files: TensorBoard, MLflow, Weights & Biases."""
