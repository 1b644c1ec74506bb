"""What a reviewer of the statistics asks for, beside the published analyses and never instead."""
