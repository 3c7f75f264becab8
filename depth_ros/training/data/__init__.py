"""Training data: recorded, rendered and generated items, read when they are drawn."""
