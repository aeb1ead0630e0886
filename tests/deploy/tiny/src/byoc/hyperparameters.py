print('{"ParameterRanges": {}}')
