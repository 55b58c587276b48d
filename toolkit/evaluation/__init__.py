"""How good are the predictions: metrics, their intervals, and what one column alone could do."""
