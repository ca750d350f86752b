"""A model and a frozen, content-hashed probe set -> answers. Imports torch only in `generate`."""
