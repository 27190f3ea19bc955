import gc

# Loading the site makes hundreds of thousands of objects that stay. By default, Python would go through them often.
gc.set_threshold(50_000, 20, 100)
