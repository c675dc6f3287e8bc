"""Adapter folders of Hugging Face PEFT, both ways."""
