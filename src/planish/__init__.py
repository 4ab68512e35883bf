"""planish turns a pretrained language model into an assistant and shows what that did to it."""

__version__ = "0.1.0"
