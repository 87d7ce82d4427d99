"""Where a run's training curves and final tables can also go: TensorBoard, Weights & Biases, Trackio, MLflow."""
