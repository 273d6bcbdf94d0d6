"""Two recordings become rows with a verdict each, and the rows become the first divergence."""
