SELECT ps_partkey, sum(ps_supplycost * ps_availqty) AS value
FROM staging.partsupp, staging.supplier, staging.nation
WHERE ps_suppkey = s_suppkey AND s_nationkey = n_nationkey AND n_name = 'GERMANY'
GROUP BY ps_partkey
HAVING CAST(sum(ps_supplycost * ps_availqty) AS DOUBLE) > (
  SELECT CAST(sum(ps_supplycost * ps_availqty) AS DOUBLE) * 0.0001
  FROM staging.partsupp, staging.supplier, staging.nation
  WHERE ps_suppkey = s_suppkey AND s_nationkey = n_nationkey AND n_name = 'GERMANY')
