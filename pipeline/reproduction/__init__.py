"""The paper's recipe and ours on the paper's data sets, compared with published scores."""
