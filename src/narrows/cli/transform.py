"""``narrows transform``."""

from narrows.cli import _data
from narrows.cli._arguments import ConditionFile, Data, Json, ModelFile, Table


def transform(
    model: ModelFile,
    data: Data,
    output: Table,
    condition: ConditionFile = None,
    as_json: Json = False,
) -> None:
    """Write the codes of rows: one column per component, most important first if ranked.

    Columns have names in .csv, .tsv, .txt and .parquet files.

    Examples
    --------
    $ narrows transform model.safetensors table.csv -o codes.csv
    $ narrows transform model.safetensors run1.npy run2.npy -o codes.npy
    """
    _data.check_table(output, *data, condition)
    import narrows

    estimator = narrows.load(model)
    rows = _data.material(data, condition=condition)
    codes = _data.mapped(lambda some: estimator.transform(some.data, **some.known), rows)
    names = [str(name) for name in estimator.get_feature_names_out()]
    _data.write(output, codes, lambda _: names, as_json)
