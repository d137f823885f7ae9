SELECT sum(CASE WHEN p_type LIKE 'PROMO%' THEN l_extendedprice * (1 - l_discount) END) AS promo,
  sum(l_extendedprice * (1 - l_discount)) AS revenue
FROM staging.lineitem, staging.part
WHERE l_partkey = p_partkey AND l_shipdate >= DATE '1995-09-01' AND l_shipdate < DATE '1995-10-01'
