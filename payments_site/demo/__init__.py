"""The demo: a whole site on one machine, started as child processes (web server, Stripe sandbox, databases)."""
