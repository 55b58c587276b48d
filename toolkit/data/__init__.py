"""Tables: where they come from, what they must look like, and the engine that queries them."""
