print("{\"ParameterRanges\": {}}")
