"""What an index keeps of its jobs: columns of terms and numbers, vectors and their codes, and the files of them."""
