"""Pictures with labels: data sets, and where they come from."""
