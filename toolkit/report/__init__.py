"""What people look at: the summary, ranked lists."""
