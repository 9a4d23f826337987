"""The safety room: what is harmful, the ledger of pairs, the classifier, the guard, the stream filter."""
