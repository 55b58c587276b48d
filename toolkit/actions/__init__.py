"""What is done with scores: ranked lists, and what is written beside each name."""
