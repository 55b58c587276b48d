"""What people look at: the page, the summary, ranked lists, and the record for machines."""
