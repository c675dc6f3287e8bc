"""Text to ids and back: trained here, published, or another library's."""
