SELECT sum(l_extendedprice) AS yearly_times_seven
FROM staging.lineitem, staging.part
WHERE p_partkey = l_partkey AND p_brand = 'Brand#23' AND p_container = 'MED BOX'
  AND CAST(l_quantity AS DOUBLE) < (
    SELECT 0.2 * avg(CAST(l_quantity AS DOUBLE)) FROM staging.lineitem WHERE l_partkey = p_partkey)
