SELECT cntrycode, count(*) AS numcust, sum(c_acctbal) AS totacctbal
FROM (
  SELECT substring(c_phone, 1, 2) AS cntrycode, c_acctbal
  FROM staging.customer
  WHERE substring(c_phone, 1, 2) IN ('13', '31', '23', '29', '30', '18', '17')
    AND CAST(c_acctbal AS DOUBLE) > (
      SELECT avg(CAST(c_acctbal AS DOUBLE)) FROM staging.customer
      WHERE c_acctbal > 0 AND substring(c_phone, 1, 2) IN ('13', '31', '23', '29', '30', '18', '17'))
    AND NOT EXISTS (SELECT 1 FROM staging.orders WHERE o_custkey = c_custkey)
) AS custsale
GROUP BY cntrycode
