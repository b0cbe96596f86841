"""Which method is worth its cost, and how sure that is: statistics, tables and figures from run records alone.

from hpo_bench.compare import compare
print(compare("runs", "analysis"))
"""

from hpo_bench.compare.comparison import Comparison, TaskVerdict, compare, compared, written

__all__ = ["Comparison", "TaskVerdict", "compare", "compared", "written"]
