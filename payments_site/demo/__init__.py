"""Runs a whole site on one machine, with database, Stripe sandbox and web server as processes of their own."""
