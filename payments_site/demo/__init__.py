"""A whole site on one machine: database, Stripe sandbox and web server, as real processes."""
