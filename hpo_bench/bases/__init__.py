"""Making a base to start from: an encoder, or a language model, trained with equal weights on an unlabelled corpus."""
