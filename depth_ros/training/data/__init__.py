"""Training data: recorded, rendered and generated examples, loaded into memory."""
