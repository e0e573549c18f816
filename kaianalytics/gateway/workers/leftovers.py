"""What an answer's bytes hold beside its values: nothing.

An Arrow array keeps room for a value under each NULL, and DuckDB leaves there whatever its memory held before: the rows
of another query, or of a customer whose stop request the views keep. The values don't show it, but who reads the bytes
can. So under each NULL, at every depth, stands zero before an answer leaves its worker.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

_WHOLE = {8: pa.int8(), 16: pa.int16(), 32: pa.int32(), 64: pa.int64()}  # by their bits


def without_leftovers(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The same batch, with zero under each NULL."""
    return pa.RecordBatch.from_arrays([_cleaned(column) for column in batch.columns], schema=batch.schema)


def _cleaned(array: pa.Array) -> pa.Array:
    kind = array.type
    if pa.types.is_struct(kind):
        return _struct(array)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_map(kind):
        return _lists(array)
    if pa.types.is_nested(kind) or pa.types.is_dictionary(kind):
        return pa.array(array.to_pylist(), kind)  # rare, and made anew from its values
    if array.null_count == 0 or pa.types.is_null(kind):
        return array
    if pa.types.is_primitive(kind) and (whole := _WHOLE.get(kind.bit_width)) and not pa.types.is_boolean(kind):
        return _filled(array.view(whole), 0).view(kind)
    if pa.types.is_boolean(kind):
        return _filled(array, False)
    return array.take(pa.arange(0, len(array)))  # which writes zero for a NULL, and no text


def _filled(array: pa.Array, zero: int | bool) -> pa.Array:
    """The array with `zero` under each NULL, which stays NULL."""
    values = pc.fill_null(array, pa.scalar(zero, array.type)).buffers()[1]
    validity = pc.is_valid(array).buffers()[1]
    return pa.Array.from_buffers(array.type, len(array), [validity, values], array.null_count)


def _struct(array: pa.Array) -> pa.Array:
    fields = [array.type.field(place) for place in range(array.type.num_fields)]
    children = [array.field(place) for place in range(len(fields))]
    gone = array.is_null() if array.null_count else None
    if gone is not None:  # what a NULL holds is NULL as well, and so it is cleaned
        children = [pc.if_else(gone, pa.scalar(None, child.type), child) for child in children]
    return pa.StructArray.from_arrays([_cleaned(child) for child in children], fields=fields, mask=gone)


def _lists(array: pa.Array) -> pa.Array:
    if array.offset or array.null_count:
        array = array.take(pa.arange(0, len(array)))  # a NULL has no items then
    validity, offsets = array.buffers()[:2]
    items = _entries(array) if pa.types.is_map(array.type) else array.values
    return pa.Array.from_buffers(
        array.type, len(array), [validity, offsets], array.null_count, children=[_cleaned(items)]
    )


def _entries(array: pa.MapArray) -> pa.StructArray:
    fields = [array.type.key_field, array.type.item_field]
    return pa.StructArray.from_arrays([array.keys, array.items], fields=fields)
