"""The reference trainer: a small model learns the tasks on this machine, with the real Hugging Face Trainer."""
