"""What vectors say: nearest images, a change of encoder, a change of images."""
