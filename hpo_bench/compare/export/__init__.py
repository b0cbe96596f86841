"""Records in the forms that other programs read: tables, TensorBoard event files, MLflow runs."""
