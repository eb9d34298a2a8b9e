"""A report on a model, as a folder."""
