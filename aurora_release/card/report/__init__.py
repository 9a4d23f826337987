"""`aurora report`: one HTML file of everything that the evidence of a run says."""
