from schemas.table import Column, Table, checks, required

TERM_DICTIONARY = Table(
    name="term_dictionary",
    meaning="Terms and the int32 that stands for each in the index and in filters.",
    grain="append",
    key=("field", "term"),
    partition=("field",),
    columns=(
        required("field", "string", "Term field: title, occupation, skill, region, …"),
        required("term", "string", "The normalised term, or the taxonomy's code."),
        required("term_id", "int", "Unique within the field; never reused."),
        Column("label", "string", "How to show the term to people."),
    ),
    checks=checks(not_negative="term_id >= 0"),
)
