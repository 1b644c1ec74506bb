"""What figures, recordings and in-silico experiments share: tables, published values, errors."""
