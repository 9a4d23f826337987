"""What is harmful, the ledger of pairs, the classifier, the guard and the stream filter."""
