SELECT s_name, s_address
FROM staging.supplier, staging.nation
WHERE s_suppkey IN (
    SELECT ps_suppkey FROM staging.partsupp
    WHERE ps_partkey IN (SELECT p_partkey FROM staging.part WHERE p_name LIKE 'forest%')
      AND CAST(ps_availqty AS DOUBLE) > (
        SELECT 0.5 * CAST(sum(l_quantity) AS DOUBLE) FROM staging.lineitem
        WHERE l_partkey = ps_partkey AND l_suppkey = ps_suppkey
          AND l_shipdate >= DATE '1994-01-01' AND l_shipdate < DATE '1995-01-01'))
  AND s_nationkey = n_nationkey AND n_name = 'CANADA'
