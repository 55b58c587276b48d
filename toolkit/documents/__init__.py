"""Documents as rows: files in; documents, pages and words out. Knows neither targets nor models."""
