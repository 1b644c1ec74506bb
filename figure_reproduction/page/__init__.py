"""What the figures share: command line, saving, drawing, report, comparison with print."""
