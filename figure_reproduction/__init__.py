"""One script per figure of the paper: source-data tables in, pictures and numbers out."""
