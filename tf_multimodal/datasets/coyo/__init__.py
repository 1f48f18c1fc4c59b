"""A subset of COYO-700M: chosen from its tables, fetched, and counted.

    python -m tf_multimodal.datasets.coyo all --recipe=configs/coyo.yaml \
        --metadata='coyo-700m/data/*.parquet' --output=data/coyo

Byeon et al. (2022), "COYO-700M: Image-Text Pair Dataset",
https://github.com/kakaobrain/coyo-dataset. docs/coyo.md has the whole way.
"""
